"""What is missing or wrong, before a GPU is booked: the machine, and the files of a run that is planned."""
