"""The pattern of report C in Python: a stable lock beside the file, a temporary file, fsync, rename."""
import fcntl, json, os, sys, tempfile, threading


def atomic_json_update(path, updater):
    with open(path + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with open(path) as file:
            data = json.load(file)
        updater(data)
        directory = os.path.dirname(path)
        descriptor, temporary = tempfile.mkstemp(dir=directory)
        with os.fdopen(descriptor, "w") as file:
            json.dump(data, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        descriptor = os.open(directory, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def add_one(data):
    data["n"] += 1


path, threads, each = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


def work():
    for _ in range(each):
        atomic_json_update(path, add_one)


workers = [threading.Thread(target=work) for _ in range(threads)]
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
