export PATH="$PWD/.venv/bin:$PATH"
URL=${SUPERAGENT_URL:-http://127.0.0.1:8750}
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)["output"][sys.argv[1]])' "$1"; }
as() { curl -s "$URL/v1/operations/$2" -H "Authorization: Bearer $1" -d "${3:-{\}}"; echo; }

# an agent of yours, with a budget: a thousand calls and ten minutes of processor time a day
superagent access agents create reporter --budget '{"calls": 1000, "cpu_s": 600}'

# one key for it that reads and writes in one folder, from this machine only, for an hour, and nothing else
KEY=$(superagent keys create reports --agent reporter --expires 1h \
  --only '{"effect": "allow", "operations": ["files.read", "files.list", "files.write"], "where": {"paths": ["{workspace}/reports/**"]}}' \
  --limits '{"cidr": ["127.0.0.0/8", "::1/128"], "rate_per_s": 5, "burst": 20}' --json | field key)

superagent files mkdir "${SUPERAGENT_DATA:-$HOME/.local/share/superagent}/workspaces/default/reporter/reports"
as "$KEY" files.write '{"path": "reports/today.md", "content": "# Today\n"}'
as "$KEY" files.read '{"path": "notes.md"}'              # the agent could; this key cannot: for it, it is not there
as "$KEY" access.whoami                                  # within which bounds, and what is left of the budget

# the agent lends a weaker key to a sub-agent: nobody is asked, and no server is needed
LENT=$(SUPERAGENT_API_KEY=$KEY superagent keys attenuate proofreader --operation files.read --path '{workspace}/reports/**' --expires 10m)
as "$LENT" files.read '{"path": "reports/today.md"}'
as "$LENT" files.write '{"path": "reports/today.md", "content": "mine"}'   # not there

# everything without a person behind it stands still at once, and goes on when you say so
superagent access stop_all --call-reason "something looks wrong"
as "$LENT" files.read '{"path": "reports/today.md"}'     # 401
superagent access release

# a key that had to go: its successor has the same rights, and the old one an hour
ID=$(superagent access agents show reporter --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["output"]["keys"][0])')
superagent access keys rotate "$ID" --overlap-s 1h --json | field id
superagent access keys list
