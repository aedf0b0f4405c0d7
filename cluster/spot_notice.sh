#!/bin/sh
# Tells Ray as soon as AWS announces that it takes this spot machine away, two minutes before: `ray drain-node`.
metadata=http://169.254.169.254/latest
while sleep "${SPOT_NOTICE_EVERY_S:-5}"; do
  token=$(curl --silent --request PUT --header "X-aws-ec2-metadata-token-ttl-seconds: 60" "$metadata/api/token")
  if curl --silent --fail --header "X-aws-ec2-metadata-token: $token" "$metadata/meta-data/spot/instance-action"; then
    ray drain-node --address="$RAY_HEAD_IP:6379" --reason=DRAIN_NODE_REASON_PREEMPTION \
      --reason-message="AWS takes the machine away" --deadline-remaining-seconds=110 && exit 0
  fi
done
