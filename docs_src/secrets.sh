export PATH="$PWD/.venv/bin:$PATH"
new_token() { python3 -c 'import secrets; print(secrets.token_urlsafe(32))'; }

# put a secret away: you are asked for it, or it comes from standard input; it is never an argument
new_token | superagent secrets put github-token

# agents speak of the connection and never see what opens it
superagent connections create github http https://api.github.com --secret github-token
superagent connections list

# a new value; the one before stays good for an hour, for whatever still holds it
new_token | superagent secrets rotate github-token
superagent secrets list

# deleted by mistake, and taken back
superagent secrets delete github-token --session oops
superagent undo --session oops

# every change is in the record, and no value is
superagent audit query --resource secret://-/github-token --limit 3
