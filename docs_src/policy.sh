export PATH="$PWD/.venv/bin:$PATH"

# an agent that may read one folder, and what it would be answered: found out without a call
superagent keys create reader --grant '{"effect": "allow", "operations": ["files.*"], "effects": ["READ"], "where": {"paths": ["/srv/app/**"]}}' >/dev/null
superagent policy explain files.read --actor agent:reader --input '{"path": "/srv/app/README.md"}'
superagent policy explain files.delete --actor agent:reader --input '{"path": "/srv/app/README.md"}'

# suggest a change, look at it, and see which calls of the past it would have answered otherwise
GRANT='{"effect": "deny", "subject": "agent:reader", "operations": ["files.read"], "where": {"paths": ["/srv/app/secrets/**"]}}'
superagent policy propose --add "$GRANT" --reason "nobody needs those" >/dev/null
read -r ID HASH < <(superagent policy proposals --json \
  | python3 -c 'import json, sys; one = json.load(sys.stdin)["output"]["proposals"][0]; print(one["id"], one["hash"])')
superagent policy diff --proposal "$ID"
superagent policy simulate --proposal "$ID"

# put exactly that in force, see the version it became, and take it back
APPLIED=$(superagent policy apply --proposal "$ID" --hash "$HASH" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["invocation"])')
superagent policy versions --limit 2
superagent undo "$APPLIED"

# the policy as a file for Git, and back; and the same policy in Cedar, for analysis outside
superagent policy export --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["output"]["text"], end="")' > "$HOME/policy.toml"
superagent policy import "$(cat "$HOME/policy.toml")" --dry-run
superagent policy export --cedar
