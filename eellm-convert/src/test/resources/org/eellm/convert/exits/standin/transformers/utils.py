import os


def cached_file(folder, name):
    return os.path.join(folder, name)
