"""livertumor: liver, tumors and intrahepatic vessels from a CT, on a clinician's workstation."""
