-- Refuses one more session of an account than `session_limit`, as servers do that count them. With
-- `session_limit_policy = "oldest"` it ends the oldest one instead, as ejabberd does. Counts those, too,
-- that stream management keeps for a client that is gone.
local limit = module:get_option_number("session_limit", 10);
local policy = module:get_option_string("session_limit_policy", "newest");
local started = 0;

module:hook("pre-resource-bind", function (event)
	local session = event.session;
	started = started + 1;
	session.session_limit_order = started;
	local account = prosody.bare_sessions[session.username .. "@" .. session.host];
	local count, oldest = 0, nil;
	for _, other in pairs(account and account.sessions or {}) do
		count = count + 1;
		if not oldest or (other.session_limit_order or 0) < (oldest.session_limit_order or 0) then
			oldest = other;
		end
	end
	module:log("info", "%s has %d sessions, and wants one more", session.username, count);
	if count < limit then return; end
	if policy == "oldest" then
		oldest:close({ condition = "conflict", text = "Replaced by new connection" });
		return;
	end
	module:log("info", "%s is refused one more", session.username);
	event.error = { type = "wait", condition = "resource-constraint", text = "Too many sessions" };
	return false;
end);
