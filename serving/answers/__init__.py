"""From a request to what the engine is asked, and from its tokens to the answer's shape. Nothing of models."""
