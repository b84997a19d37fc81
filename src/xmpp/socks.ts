/** SOCKS5 (RFC 1928) for outgoing connections; loaded only where one is made. */
export { SocksClient } from 'socks';
