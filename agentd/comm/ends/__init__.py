"""Who is at the other end of a link: messages to events, commands to messages."""
