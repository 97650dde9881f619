set -e
api="$GOOGLE_GEMINI_BASE_URL"
key="x-goog-api-key: $GEMINI_API_KEY"
printf 'a recording of an hour' > talk.wav

# Begin: the answer names the upload. Its URL is a secret; the bytes need no key.
upload=$(curl --silent --fail -H "$key" "$api/upload/v1beta/files" -D - -o /dev/null \
  -H "X-Goog-Upload-Protocol: resumable" -H "X-Goog-Upload-Command: start" \
  -H "X-Goog-Upload-Header-Content-Length: 22" -H "X-Goog-Upload-Header-Content-Type: audio/wav" \
  -H "Content-Type: application/json" -d '{"file": {"display_name": "Talk"}}' |
  tr -d '\r' | sed -n 's/^x-goog-upload-url: //Ip')

# Send what there is; and after a break ask how much has come, and send the rest.
head -c 12 talk.wav | curl --silent --fail "$upload" -H "X-Goog-Upload-Command: upload" -H "X-Goog-Upload-Offset: 0" --data-binary @-
came=$(curl --silent --fail -X POST "$upload" -H "X-Goog-Upload-Command: query" -D - -o /dev/null |
  tr -d '\r' | sed -n 's/^x-goog-upload-size-received: //Ip')
file=$(tail -c +$((came + 1)) talk.wav | curl --silent --fail "$upload" \
  -H "X-Goog-Upload-Command: upload, finalize" -H "X-Goog-Upload-Offset: $came" --data-binary @- |
  grep -o 'files/[0-9a-z]*' | head -1)

curl --silent --fail -H "$key" -H "Range: bytes=2-10" "$api/v1beta/$file:download?alt=media" # a part of it
curl --silent --fail -H "$key" -X DELETE "$api/v1beta/$file"
