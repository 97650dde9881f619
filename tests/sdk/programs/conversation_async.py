import asyncio

from google import genai


async def main():
    client = genai.Client()
    first = await client.aio.interactions.create(
        model="gemini-3-flash-preview",
        input="Hi, my name is Phil.",
    )
    print(f"Model: {first.steps[-1].content[0].text}")
    second = await client.aio.interactions.create(
        model="gemini-3-flash-preview",
        input="What is my name?",
        previous_interaction_id=first.id,
    )
    print(f"Model: {second.steps[-1].content[0].text}")


asyncio.run(main())
