export PATH="$PWD/.venv/bin:$PATH"   # here are `mcp` and `httpx2`; elsewhere: pip install mcp httpx2

SUPERAGENT_API_KEY=$(superagent keys create "by-http-$(date +%s)" --json | sed 's/.*"key": *"\([^"]*\)".*/\1/')
export SUPERAGENT_API_KEY
python docs_src/mcp_session.py
