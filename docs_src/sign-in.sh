export PATH="$PWD/.venv/bin:$PATH"
URL=${SUPERAGENT_URL:-http://127.0.0.1:8750}
jar=$(mktemp)
field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }

# whoever owns the data folder can let a person in, by a link that works once
link=$(superagent --json recover owner | field link)

# what a browser does with it: the session comes back in a cookie that no script sees
curl -s -c "$jar" -d go=1 "$URL/sign-in/${link#*/sign-in/}" -o /dev/null

# looking needs the cookie; whatever could change something also the token against forged requests
csrf=$(curl -s -b "$jar" "$URL/sign-in/session" | field csrf)
curl -s -b "$jar" "$URL/v1/operations/access.whoami" -d '{}' -H "X-CSRF-Token: $csrf"; echo
curl -s -b "$jar" "$URL/v1/operations/access.whoami" -d '{}'; echo   # another site's page could send this

# where you are signed in, and what was recorded
curl -s -b "$jar" "$URL/v1/operations/access.sessions.list" -d '{}' -H "X-CSRF-Token: $csrf"; echo
superagent audit query --text signin.done --limit 3
rm "$jar"
