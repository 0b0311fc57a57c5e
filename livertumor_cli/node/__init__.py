"""A workstation as DICOM node: it receives studies, segments them and sends the results on."""
