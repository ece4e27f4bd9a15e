#!/bin/sh
# Runs the training that the kernel's command line names:
#   live.address=10.99.0.2/24 live.run=light|h2o live.heap=MB live.dirty=MB/MB_PER_SECOND
# It prints "LIVE ready" on the console when the training runs.
export PATH=/bin:/usr/bin HOME=/tmp LANG=C.UTF-8
for word in $(cat /proc/cmdline); do
  case $word in
    live.address=*) address=${word#*=} ;;
    live.run=*) run=${word#*=} ;;
    live.heap=*) heap=${word#*=} ;;
    live.dirty=*) dirty=${word#*=} ;;
  esac
done
python=$(ls /usr/bin/python3.* | head -n 1)
ip link set lo up
ip link set eth0 up
ip address add "$address" dev eth0
stty -F /dev/ttyS1 raw -echo
[ "${dirty#*/}" = 0 ] || "$python" -S /app/dirty.py "${dirty%/*}" "${dirty#*/}" &
case $run in
  light) "$python" -S /app/training.py /data/flights.csv 9100 /dev/ttyS1 ;;
  h2o)
    "$python" -S /app/h2o_beats.py /dev/ttyS1 &
    "$python" -S /app/h2o_training.py "http://${address%/*}:54321" /data/flights.csv &
    echo "${address%/*}:54321" > /tmp/flatfile
    # Without XGBoost, whose libraries take an emulated processor a minute to try.
    /java/bin/java "-Xmx${heap}m" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dsys.ai.h2o.ext.core.toggle.XGBoost=False -jar /app/h2o.jar -name live -ip "${address%/*}" \
      -port 54321 -flatfile /tmp/flatfile -nthreads 1 -ice_root /tmp/ice -log_dir /tmp/log -flow_dir /tmp/flow ;;
esac
echo "LIVE ended: the training has ended with $?"
poweroff -f
