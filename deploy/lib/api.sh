# Calls to the orchestrator's HTTP API. Sourced by deploy/up. Needs $http (HOST:PORT) and $data.

# curl on path $1, with the administrator's key and further arguments; prints the answer, fails unless it is 2xx.
# The key goes through a pipe: an argument could be read by everyone on this machine.
api() {
  local path=$1
  shift
  curl --silent --show-error --fail-with-body --max-time 10 \
    --header @<(printf 'Authorization: Bearer %s\n' "$(<"$data/admin.key")") "$@" "http://$http$path"
}

# Makes a listed live stream named $1 with profile $3 (JSON), and keeps the answer, which alone tells the key, in
# file $2.
create_stream() {
  api /v1/streams --header 'Content-Type: application/json' \
    --data "$(jq -nc --arg name "$1" --argjson profile "$3" '{$name, source: "live", listed: true, $profile}')" >"$2.new"
  mv "$2.new" "$2"
}

# Whether the stream kept in file $1 is still there and can still be pushed to.
stream_is_open() {
  local state
  [[ -f $1 ]] || return 1
  state=$(api "/v1/streams/$(jq -r .id "$1")" 2>/dev/null | jq -r .state) || return 1
  [[ $state == waiting || $state == live || $state == interrupted ]]
}
