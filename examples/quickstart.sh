curl --silent "$GOOGLE_GEMINI_BASE_URL/v1beta/interactions" \
  -H "x-goog-api-key: $GEMINI_API_KEY" -H 'content-type: application/json' \
  -d '{"model": "gemini-3-flash-preview", "input": "Tell me a short joke about programming."}'
