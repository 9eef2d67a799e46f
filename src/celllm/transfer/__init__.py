"""Files from elsewhere: mirror folders and the network, checked before they take their name."""
