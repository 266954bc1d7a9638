"""Dead letters after a flow has written them: shown, read again by today's decoder into today's outputs, or given up."""
