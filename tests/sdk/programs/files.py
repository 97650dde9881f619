import base64
import hashlib
import io
import tempfile
import time
from pathlib import Path

from google import genai
from google.genai import errors

client = genai.Client()
path = Path(tempfile.mkdtemp()) / "cats.txt"
path.write_text("Cats purr when they are happy. A kitten drinks milk at noon.")

file = client.files.upload(file=path, config={"display_name": "On cats"})
print(file.display_name, file.mime_type, file.size_bytes, file.state.name, file.expiration_time > file.create_time)
large = client.files.upload(file=io.BytesIO(b"0123456789" * 1_000_000), config={"mime_type": "text/csv"})
print(large.size_bytes, large.name in [listed.name for listed in client.files.list(config={"page_size": 1})])
print(client.files.get(name=file.name).uri == file.uri, client.files.download(file=file) == path.read_bytes())
print(
    client.files.get(name=file.uri) == file,
    client.files.download(file=large.uri) == b"0123456789" * 1_000_000,
    file.source.name,
)
print(base64.b64decode(file.sha256_hash).decode() == hashlib.sha256(path.read_bytes()).hexdigest())

store = client.file_search_stores.create(config={"display_name": "Pets"})
operation = client.file_search_stores.upload_to_file_search_store(
    file_search_store_name=store.name,
    file=str(path),
    config={
        "display_name": "Cats again",
        "custom_metadata": [
            {"key": "year", "numeric_value": 2020},
            {"key": "tags", "string_list_value": {"values": ["a"]}},
        ],
        "chunking_config": {"white_space_config": {"max_tokens_per_chunk": 50, "max_overlap_tokens": 5}},
    },
)
while not operation.done:
    time.sleep(0.05)
    operation = client.operations.get(operation)
print(operation.error, operation.response.document_name.startswith(store.name))
imported = client.file_search_stores.import_file(file_search_store_name=store.name, file_name=file.name)
while not imported.done:
    time.sleep(0.05)
    imported = client.operations.get(imported)

documents = list(client.file_search_stores.documents.list(parent=store.name, config={"page_size": 1}))
print([document.display_name for document in documents], [document.state.name for document in documents])
print(next((pair.key, pair.numeric_value) for pair in documents[0].custom_metadata))
print(client.file_search_stores.get(name=store.name).active_documents_count)

try:
    client.file_search_stores.delete(name=store.name)
except errors.ClientError as error:
    print(error.code, error.status, error.message)
client.file_search_stores.documents.delete(name=documents[0].name, config={"force": True})
client.file_search_stores.delete(name=store.name, config={"force": True})
client.files.delete(name=file.name)
try:
    client.files.get(name=file.name)
except errors.ClientError as error:
    print(error.code, error.status)
print([found.name for found in client.file_search_stores.list()])
