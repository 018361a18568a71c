export PATH="$PWD/.venv/bin:$PATH"

# a database in the workspace, and a connection to it
folder="${SUPERAGENT_DATA:-$HOME/.local/share/superagent}/workspaces/default/owner"
mkdir -p "$folder"
python3 -c "import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute('CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, who TEXT, paid INT)')
db.execute(\"INSERT OR IGNORE INTO orders VALUES (1, 'ada', 10), (2, 'bo', 20)\")
db.commit()" "$folder/orders.db"
superagent connections create orders --type sqlite --endpoint "sqlite://$folder/orders.db"

# read, with values apart from the statement
superagent sql query orders "SELECT who, paid FROM orders WHERE paid > :least" --params '{"least": 15}'

# look before, change, take back
superagent sql execute orders "UPDATE orders SET paid = 0 WHERE id = 1" --dry-run
superagent sql execute orders "UPDATE orders SET paid = 0 WHERE id = 1" --json >change.json
superagent undo apply --ids "$(grep -o '"invocation": *"[^"]*' change.json | grep -o '[^"]*$' | head -1)"
rm change.json
superagent sql query orders "SELECT sum(paid) FROM orders"

# which index would help a statement (tried on a copy), and how large the tables are
superagent sql index_suggest orders "SELECT who FROM orders WHERE paid > :least" --params '{"least": 15}'
superagent sql capacity orders
