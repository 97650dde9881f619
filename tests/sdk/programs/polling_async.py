import asyncio
import sys

from google import genai


async def main():
    client = genai.Client()
    interaction = await client.aio.interactions.create(
        model="gemini-3-flash-preview",
        input=sys.argv[1],
        background=True,
    )
    while True:
        interaction = await client.aio.interactions.get(interaction.id)
        if interaction.status == "completed":
            print(interaction.steps[-1].content[0].text)
            break
        if interaction.status == "failed":
            print(f"Failed: {interaction.error}")
            break
        await asyncio.sleep(1)


asyncio.run(main())
