# Call main with the arguments as JSON in $1. Its output is the JSON result; its messages go to stderr.
source=$1
shift
arguments=$(< "$SANDBOX_ARGUMENTS")
sandbox_result=$SANDBOX_RESULT
unset SANDBOX_ARGUMENTS SANDBOX_RESULT
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
printf '%s' "${result:1:-1}" > "$sandbox_result"
