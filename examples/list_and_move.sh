set -e
api="$GOOGLE_GEMINI_BASE_URL/v1beta"
key="x-goog-api-key: $GEMINI_API_KEY"

id=$(curl --silent --fail -H "$key" "$api/interactions" \
  -d '{"model": "gemini-3-flash-preview", "input": "Hi, my name is Phil."}' | grep -o 'v1_[0-9a-z]*' | head -1)

curl --silent --fail -H "$key" "$api/interactions?page_size=1"            # the newest one
curl --silent --fail -H "$key" "$api/interactions/$id/export" > talk.jsonl # the conversation that ends with it
curl --silent --fail -H "$key" -X DELETE "$api/interactions/$id"
curl --silent --fail -H "$key" "$api/interactions:import" --data-binary @talk.jsonl
