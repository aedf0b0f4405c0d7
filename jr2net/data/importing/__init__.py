"""From a dataset's files to clip shards: faces found and followed, cropped, judged, and written once each."""
