/**
 * SOCKS5 (RFC 1928) for outgoing connections; loaded only where one is made. A module of ours, since a bundled
 * CommonJS package that is imported on demand has no names, only a default.
 */
export { SocksClient } from 'socks';
