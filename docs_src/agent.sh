export PATH="$PWD/.venv/bin:$PATH"
URL=${SUPERAGENT_URL:-http://127.0.0.1:8750}

# a key for an agent: it has a folder of its own and may do nothing else without asking; a name is taken once, so this one
# has the time in it
KEY=$(superagent keys create "builder-$(date +%s)" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["output"]["key"])')
agent() { curl -s "$URL/v1/$1" -H "Authorization: Bearer $KEY" -d "$2"; echo; }

agent operations/files.write '{"path": "plan.md", "content": "# Plan\n"}'   # in its folder: done, and undoable
ASKED=$(agent operations/files.read '{"path": "/etc/hostname"}')            # outside: waits for a person
echo "$ASKED"
WAITING=$(echo "$ASKED" | python3 -c 'import json, sys; print(json.load(sys.stdin)["invocation"])')

# you are that person: look at who asks for what, at its exact effect, and decide
superagent approvals list
superagent approvals show "$WAITING"
superagent approvals approve "$WAITING" --reason "a host name is no secret"

# the agent gets its answer
sleep 1
curl -s "$URL/v1/invocations/$WAITING" -H "Authorization: Bearer $KEY"; echo
