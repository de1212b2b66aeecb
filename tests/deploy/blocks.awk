# Prints the commands of a section: awk -v section='Upgrade' -v number=1 -f blocks.awk docs/OPERATING.md
/^#+ / { inside = substr($0, index($0, " ") + 1) == section; next }
/^```sh$/ { open = 1; if (inside) count++; next }
/^```/ { open = 0; next }
open && inside && count == number { print; found = 1 }
END { exit !found }
