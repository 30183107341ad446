"""Maps, scores and other facts about a picture and a network, each computed once; independent of any user interface."""
