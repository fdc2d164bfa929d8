"""Tests of `broker.client`."""
