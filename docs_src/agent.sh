export PATH="$PWD/.venv/bin:$PATH"

# a key for an agent: it has a folder of its own and may do nothing else without asking
KEY=$(superagent keys create builder --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["output"]["key"])')
agent() { curl -s "http://127.0.0.1:8750/v1/$1" -H "Authorization: Bearer $KEY" -d "$2"; echo; }

agent operations/files.write '{"path": "plan.md", "content": "# Plan\n"}'   # in its folder: done, and undoable
agent operations/files.read '{"path": "/etc/hostname"}'                     # outside: waits for a person

# you are that person: look at the request, its exact effect, and decide
superagent approvals list
WAITING=$(superagent approvals list --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["output"]["waiting"][0]["id"])')
superagent approvals show "$WAITING"
superagent approvals approve "$WAITING" --reason "a host name is no secret"

# the agent gets its answer
sleep 1
curl -s "http://127.0.0.1:8750/v1/invocations/$WAITING" -H "Authorization: Bearer $KEY"
