export PATH="$PWD/.venv/bin:$PATH"
DATA="${SUPERAGENT_DATA:-$HOME/.local/share/superagent}"

# put its folder where plugins lie: so far it is there and off
mkdir -p "$DATA/plugins"
cp -r docs_src/notes "$DATA/plugins/"
superagent plugins list

# load it contained, with files and nothing else; this counts from the next start of the server
superagent settings set plugins.hosted '["notes: files"]'
