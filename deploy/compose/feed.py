"""Sends the demo's addresses to a topic, in the order of time and evenly: `feed.py BROKER TOPIC [MINUTES]`.

It waits for the broker, and goes on where it stopped when it is started again: the place of an address is its offset.
"""

import sys
import time

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from daemon.demo.text import eras

WAIT_S = 120.0


def main(broker: str, topic: str, minutes: float = 20.0) -> None:
    """Send what is not there yet."""
    paragraphs = [paragraph for era in eras() for paragraph in era.paragraphs]
    producer = _producer(broker)
    sent = _sent(broker, topic)
    print(f"{len(paragraphs) - sent} of {len(paragraphs)} addresses, in {minutes:g} minutes to {topic}", flush=True)
    for number, paragraph in enumerate(paragraphs[sent:], start=sent + 1):
        producer.send(topic, paragraph.as_record(), partition=0).get(timeout=WAIT_S)
        if number % 100 == 0:
            print(f"{number} of {len(paragraphs)}: {paragraph.year}", flush=True)
        time.sleep(minutes * 60 / len(paragraphs))
    producer.close()


def _producer(broker: str) -> KafkaProducer:
    give_up = time.monotonic() + WAIT_S
    while True:
        try:
            return KafkaProducer(bootstrap_servers=broker, acks="all")
        except KafkaError:
            if time.monotonic() > give_up:
                raise
            time.sleep(1)


def _sent(broker: str, topic: str) -> int:
    """How many are there already."""
    consumer = KafkaConsumer(bootstrap_servers=broker)
    try:
        place = TopicPartition(topic, 0)
        return int(consumer.end_offsets([place])[place])
    finally:
        consumer.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:4]))
