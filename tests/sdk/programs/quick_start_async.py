import asyncio

from google import genai


async def main():
    client = genai.Client()
    interaction = await client.aio.interactions.create(
        model="gemini-3-flash-preview",
        input="Tell me a short joke about programming.",
    )
    print(interaction.steps[-1].content[0].text)


asyncio.run(main())
