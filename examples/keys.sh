# antiphon serve --host 0.0.0.0 --api-key kitchen:a-long-secret-1 --api-key garden:a-long-secret-2
api="$GOOGLE_GEMINI_BASE_URL/v1beta/interactions"
curl --silent "$api"                                       # no key: 401
curl --silent "$api" -H 'x-goog-api-key: a-long-secret-1'  # three ways to send one
curl --silent "$api" -H 'Authorization: Bearer a-long-secret-1'
curl --silent "$api?key=a-long-secret-2"                   # the other project: it sees nothing of the first
