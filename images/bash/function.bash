# Calls main with the arguments as JSON in $1. What main prints to stdout is the JSON result; messages go to stderr.
source=$1
shift
arguments=$(< "$SANDBOX_ARGUMENTS")
unset SANDBOX_ARGUMENTS
# Close descriptor 4 for the program: a background process that inherits it would keep the runner's pipe open.
exec 5>&4 4>&-
. "$source" "$@"
if ! declare -F main > /dev/null; then
  echo 'main is not defined: the program must define a function named main.' >&2
  exit 1
fi
printed=$(main "$arguments") || exit
if ! result=$(jq --compact-output --slurp --exit-status 'if length == 1 then .[0] else error end | [.]' <<< "$printed" 2> /dev/null); then
  echo 'Error: main must print one JSON value, which is its result.' >&2
  exit 1
fi
result=${result:1:-1}
LC_ALL=C
size=$(printf '%08x' ${#result})
printf "R\\x${size:0:2}\\x${size:2:2}\\x${size:4:2}\\x${size:6:2}%s" "$result" >&5
