export PATH="$PWD/.venv/bin:$PATH"

# a program that speaks MCP, connected: it runs contained, and sees its own folder and no network
PLACE=$(mktemp -d)
chmod 755 "$PLACE"
cp -r docs_src/words "$PLACE"
superagent plugins connect_mcp words --command python --command server.py --folder "$PLACE/words"

# say what its tools do, as they are described now; until then each call by an agent asks a person
superagent plugins review words --json | python3 -c '
import json, sys
tools = json.load(sys.stdin)["output"]["tools"]
said = [{"tool": one["tool"], "digest": one["digest"], "effect": "READ", "risk": "LOW"} for one in tools]
print(json.dumps({"name": "words", "tools": said}))' > "$PLACE/said.json"
superagent call plugins.assign -f "$PLACE/said.json" > /dev/null

# now it is an operation like any other
superagent words count_words "one two three"
superagent plugins remove words > /dev/null
