"""What a room's boxes, outline and camera path say, as text and as questions with known answers."""
