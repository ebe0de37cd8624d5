package org.eellm.model;

/**
 * Counts who reads a model's memory. It is freed when the model has been closed and its last user
 * has gone, in whatever order that happens: machine code and libtorch that read freed memory end
 * the JVM.
 */
public final class ModelUsers implements AutoCloseable {
  private final Runnable free;
  private int count; // of those who have not gone
  private boolean closed;

  /** Keeps the memory until it is closed. */
  public final class Use implements AutoCloseable {
    private boolean ended;

    private Use() {}

    @Override
    public void close() {
      synchronized (ModelUsers.this) {
        if (!ended) {
          ended = true;
          count--;
          freeIfUnused();
        }
      }
    }
  }

  ModelUsers(Runnable free) {
    this.free = free;
  }

  /**
   * Adds a user.
   *
   * @throws IllegalStateException if the model is closed
   */
  public synchronized Use add() {
    if (closed) {
      throw new IllegalStateException("the model is closed; load it again");
    }
    count++;
    return new Use();
  }

  @Override
  public synchronized void close() {
    if (!closed) {
      closed = true;
      freeIfUnused();
    }
  }

  private void freeIfUnused() {
    if (closed && count == 0) {
      free.run();
    }
  }
}
