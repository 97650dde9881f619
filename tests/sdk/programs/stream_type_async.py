import asyncio

from google import genai


async def main():
    client = genai.Client()
    stream = await client.aio.interactions.create(
        model="gemini-3-flash-preview",
        input="Tell me a short joke about programming.",
        stream=True,
    )
    async for event in stream:
        if event.type == "step.delta":
            if event.delta.type == "text":
                print(event.delta.text, end="", flush=True)
        elif event.type == "interaction.complete":
            print(f"\n{event.interaction.status}: {event.interaction.usage.total_tokens} tokens")


asyncio.run(main())
