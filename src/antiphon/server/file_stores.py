"""File search stores, their documents and operations. What is uploaded to them comes by `uploads.py`."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from antiphon import wire
from antiphon.index.chunks import Chunking
from antiphon.index.collection import Value
from antiphon.library import Library
from antiphon.library.stores import Operation, Store, StoredDocument
from antiphon.server import rest
from antiphon.server.files import file_of
from antiphon.server.rest import Handler, timestamp
from antiphon.wire import files as types

_MOST = 100  # stores or documents of a page; the service gives 20
_SERVICE_EMBEDDERS = "models/gemini-embedding-"  # stand for whatever this server has, as model names do
_STATES = {"pending": "STATE_PENDING", "active": "STATE_ACTIVE", "failed": "STATE_FAILED"}


def table(library: Library) -> list[tuple[str, str, Handler]]:
    """The routes, in the order in which they are tried."""
    routes = Routes(library)
    store, document = "/fileSearchStores/{store}", "/fileSearchStores/{store}/documents/{document}"
    return [
        ("POST", "/fileSearchStores", rest.rpc(routes.create)),
        ("GET", "/fileSearchStores", rest.rpc(routes.page)),
        ("POST", f"{store}:importFile", rest.rpc(routes.import_file)),
        ("GET", f"{store}/operations/{{operation}}", rest.rpc(routes.imported)),
        ("GET", f"{store}/upload/operations/{{operation}}", rest.rpc(routes.uploaded)),
        ("GET", f"{store}/documents", rest.rpc(routes.documents)),
        ("GET", f"{document}:download", rest.rpc(routes.download)),
        ("GET", document, rest.rpc(routes.document)),
        ("DELETE", document, rest.rpc(routes.delete_document)),
        ("GET", store, rest.rpc(routes.get)),
        ("DELETE", store, rest.rpc(routes.delete)),
    ]


class Routes:
    """One method a route."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._stores = library.stores

    # ------------------------------------------------------------------ stores

    async def create(self, request: Request) -> Response:
        """POST /fileSearchStores."""
        rest.query(request)
        body = await rest.body(request, types.CreateFileSearchStore)
        asked, here = body.embedding_model, self._library.embedding_model
        if asked and asked.removeprefix("models/") != here and not asked.startswith(_SERVICE_EMBEDDERS):
            raise wire.InvalidRequest(
                f"The value '{asked[:100]}' is not supported at 'embeddingModel'; here it is '{here}'."
            )
        return self._store(await self._stores.create(request.scope["project"], body.display_name))

    async def page(self, request: Request) -> Response:
        """GET /fileSearchStores: the oldest first."""
        size, after = rest.page(rest.query(request, "pageSize", "pageToken"), _MOST)
        stores = await self._stores.page(request.scope["project"], after or 0, size + 1)
        shown = [self._resource(store) for store in stores[:size]]
        return rest.answer(
            types.FileSearchStores(file_search_stores=shown or None, next_page_token=rest.token(stores, size))
        )

    async def get(self, request: Request) -> Response:
        """GET /fileSearchStores/{store}."""
        rest.query(request)
        return self._store(await self._stores.get(request.scope["project"], request.path_params["store"]))

    async def delete(self, request: Request) -> Response:
        """DELETE /fileSearchStores/{store}, with `force` where it has documents."""
        force = rest.flag(rest.query(request, "force"), "force")
        await self._stores.delete(request.scope["project"], request.path_params["store"], force=force)
        return rest.answer({})

    def _store(self, store: Store) -> Response:
        return rest.answer(self._resource(store))

    def _resource(self, store: Store) -> types.FileSearchStore:
        return types.FileSearchStore(
            name=f"fileSearchStores/{store.id}",
            display_name=store.display_name,
            create_time=timestamp(store.created),
            update_time=timestamp(store.updated),
            active_documents_count=str(store.active) if store.active else None,
            pending_documents_count=str(store.pending) if store.pending else None,
            failed_documents_count=str(store.failed) if store.failed else None,
            size_bytes=str(store.size) if store.size else None,
            embedding_model=f"models/{self._library.embedding_model}",
        )

    # ------------------------------------------------------------------ documents

    async def documents(self, request: Request) -> Response:
        """GET …/documents: the oldest first."""
        size, after = rest.page(rest.query(request, "pageSize", "pageToken"), _MOST)
        store = request.path_params["store"]
        found = await self._stores.documents(request.scope["project"], store, after or 0, size + 1)
        shown = [_document(store, document) for document in found[:size]]
        return rest.answer(types.Documents(documents=shown or None, next_page_token=rest.token(found, size)))

    async def document(self, request: Request) -> Response:
        """GET …/documents/{document}."""
        rest.query(request)
        return rest.answer(_document(request.path_params["store"], await self._document(request)))

    async def delete_document(self, request: Request) -> Response:
        """DELETE …/documents/{document}, with `force` where it can be searched."""
        force = rest.flag(rest.query(request, "force"), "force")
        store, document = request.path_params["store"], request.path_params["document"]
        await self._stores.delete_document(request.scope["project"], store, document, force=force)
        return rest.answer({})

    async def download(self, request: Request) -> Response:
        """GET …/documents/{document}:download?alt=media: its bytes. Ours."""
        if request.query_params.get("alt") != "media":
            raise wire.InvalidRequest("A download is asked for with alt=media.")
        document = await self._document(request)
        return await file_of(self._library, request, document, document.display_name)

    async def _document(self, request: Request) -> StoredDocument:
        store, document = request.path_params["store"], request.path_params["document"]
        return await self._stores.document(request.scope["project"], store, document)

    # ------------------------------------------------------------------ operations

    async def import_file(self, request: Request) -> Response:
        """POST …:importFile."""
        rest.query(request)
        store = request.path_params["store"]
        body = await rest.body(request, types.ImportFile)
        values, chunks = metadata(body.custom_metadata), chunking(body.chunking_config)
        made = await self._library.import_file(request.scope["project"], store, body.file_name, values, chunks)
        return rest.answer(operation(store, made))

    async def imported(self, request: Request) -> Response:
        """GET …/operations/{operation}."""
        return await self._operation(request, "import")

    async def uploaded(self, request: Request) -> Response:
        """GET …/upload/operations/{operation}."""
        return await self._operation(request, "upload")

    async def _operation(self, request: Request, kind: str) -> Response:
        rest.query(request)
        store, id = request.path_params["store"], request.path_params["operation"]
        return rest.answer(operation(store, await self._stores.operation(request.scope["project"], store, id, kind)))


def operation(store: str, made: Operation) -> types.Operation:
    """How far a document is. As from the service, its name is told before it is done."""
    kind = "upload/operations" if made.kind == "upload" else "operations"
    error = None
    if made.state is None:
        error = types.FileStatus(code=rest.GRPC["CANCELLED"], message="The document was deleted.")
    elif made.state == "failed":
        error = types.FileStatus(code=rest.GRPC["INVALID_ARGUMENT"], message=made.error)
    name = f"fileSearchStores/{store}/documents/{made.document_id}"
    return types.Operation(
        name=f"fileSearchStores/{store}/{kind}/{made.id}",
        done=True if made.state != "pending" else None,
        error=error,
        response=types.OperationResponse(parent=f"fileSearchStores/{store}", document_name=name) if not error else None,
    )


def _document(store: str, document: StoredDocument) -> types.StoredDocument:
    failed = types.FileStatus(code=rest.GRPC["INVALID_ARGUMENT"], message=document.error)
    return types.StoredDocument(
        name=f"fileSearchStores/{store}/documents/{document.id}",
        display_name=document.display_name,
        state=_STATES[document.state],  # type: ignore[arg-type]
        size_bytes=str(document.size),
        mime_type=document.mime_type,
        create_time=timestamp(document.created),
        update_time=timestamp(document.updated),
        custom_metadata=[_pair(key, value) for key, value in document.values.items()] or None,
        error=failed if document.state == "failed" else None,
    )


def metadata(given: list[types.CustomMetadata] | None) -> dict[str, Value]:
    """Metadata as it is kept. Raises InvalidRequest for a key without one value, or one that comes twice."""
    values: dict[str, Value] = {}
    for place, pair in enumerate(given or ()):
        path = f"customMetadata[{place}]"
        listed = pair.string_list_value.values if pair.string_list_value is not None else None
        found = [value for value in (pair.string_value, pair.numeric_value, listed) if value is not None]
        if len(found) != 1:
            raise wire.InvalidRequest(
                f"'{path}' needs exactly one of 'stringValue', 'numericValue' and 'stringListValue'; it has {len(found)}."
            )
        if pair.key in values:
            raise wire.InvalidRequest(f"The key '{pair.key}' at '{path}' is there twice.")
        values[pair.key] = found[0]
    return values


def _pair(key: str, value: Value) -> types.CustomMetadata:
    if isinstance(value, str):
        return types.CustomMetadata(key=key, string_value=value)
    if isinstance(value, list):
        return types.CustomMetadata(key=key, string_list_value=types.StringList(values=value))
    return types.CustomMetadata(key=key, numeric_value=value)


def chunking(given: types.ChunkingConfig | None) -> Chunking:
    """How a document is cut; what is not said is as without. Raises InvalidRequest."""
    config = given.white_space_config if given is not None else None
    if config is None:
        return Chunking()
    tokens = config.max_tokens_per_chunk or Chunking().max_tokens
    overlap = min(Chunking().overlap, tokens - 1) if config.max_overlap_tokens is None else config.max_overlap_tokens
    if overlap >= tokens:
        raise wire.InvalidRequest(
            f"'chunkingConfig.whiteSpaceConfig.maxOverlapTokens' is {overlap} and must be less than "
            f"'maxTokensPerChunk', {tokens}."
        )
    return Chunking(tokens, overlap)
