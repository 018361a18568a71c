export PATH="$PWD/.venv/bin:$PATH"
folder="${SUPERAGENT_DATA:-$HOME/.local/share/superagent}/workspaces/default/owner"

# rows into a file, and back into a table
superagent sql export orders "SELECT who, paid FROM orders" "$folder/orders.csv"
superagent sql import orders "$folder/orders.csv" orders

# a backup counts once a restore has shown every row; then it is restored beside the present database
superagent sql backup orders "$folder/orders.backup"
superagent sql restore orders "$folder/orders.backup" --into "$folder/orders-again.db"

# a migration: rehearsed on a copy, then applied as it was planned
mkdir -p "$folder/migrations"
echo "ALTER TABLE orders ADD COLUMN note TEXT" >"$folder/migrations/001_note.up.sql"
echo "ALTER TABLE orders DROP COLUMN note" >"$folder/migrations/001_note.down.sql"
superagent sql migrate_plan orders "$folder/migrations" --json >plan.json
plan="$(grep -o '"digest": *"[0-9a-f]*' plan.json | grep -o '[0-9a-f]*$' | tail -1)"
rm plan.json
superagent sql migrate_apply orders "$folder/migrations" "$plan"
