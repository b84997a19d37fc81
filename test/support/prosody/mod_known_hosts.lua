-- Connects to the domains of `known_hosts` where that says, without asking any DNS: for servers of one
-- machine that federate. A domain that is not in it is not found.
local service = require "net.resolvers.service";
local basic = require "net.resolvers.basic";
local known = module:get_option("known_hosts", {});
local nowhere = {
	next = function (self, found)
		self.last_error = "not among the known hosts";
		found(nil);
	end;
};

-- mod_s2s calls it through the module's table, once for STARTTLS and once for direct TLS.
service.new = function (domain, name)
	local place = name == "xmpp-server" and known[domain];
	return place and basic.new(place.address, place.port, "tcp") or nowhere;
end
