export PATH="$PWD/.venv/bin:$PATH"
URL=${SUPERAGENT_URL:-http://127.0.0.1:8750}
field() { python3 -c "import json, sys; print(json.load(sys.stdin)$1)"; }

# a key for an agent; what it reads from elsewhere, it did not write (a name is taken once, so it has the time in it)
AGENT=reviewer-$(date +%s)
KEY=$(superagent keys create "$AGENT" --json | field '["output"]["key"]')
agent() { curl -s "$URL/v1/operations/$1" -H "Authorization: Bearer $KEY" -d "$2"; echo; }

# ask before making the call: approved, it runs at once, and only this very call
asked=$(agent approvals.request '{"operation": "files.read", "input": {"path": "/etc/hostname"}, "reason": "which machine is this?"}' |
  field '["output"]["id"]')
superagent approvals show "$asked"   # who asks, for what, and what it would do: others may be waiting too
superagent approvals approve "$asked" --reason "no secret"
agent files.read '{"path": "/etc/hostname"}'

# that text came from outside its workspace: from now on what destroys or sends asks, even at home
agent files.write '{"path": "draft.md", "content": "# Draft\n"}'
answer=$(agent files.delete '{"path": "draft.md"}')
echo "$answer"
asked=$(echo "$answer" | field '["invocation"]')
superagent approvals deny "$asked" --reason "why delete it?"
superagent access taint list
superagent access taint clear "caller:$AGENT" --reason "a host name gives no orders"

# rights for a while: they begin with the approval and end by themselves
asked=$(agent grants.request '{"operations": ["files.read"], "resources": ["/etc/hosts"], "minutes": 5, "reason": "look up a name"}' |
  field '["invocation"]')
superagent approvals approve "$asked"
sleep 1
agent files.read '{"path": "/etc/hosts"}'
superagent grants list
