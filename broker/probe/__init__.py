"""`broker probe`: puts any MQTT Server to the test as a Client, and says what is wrong and why."""
