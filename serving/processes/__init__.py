"""Engines that are programs of their own: how each is started, asked for answers, watched and ended."""
