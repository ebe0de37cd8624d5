package org.eellm.train.metrics;

import java.util.ArrayList;
import java.util.List;

/** A record of a rank's work over time, in spans that a trace viewer draws. */
public sealed interface Trace {

  /** Begins a span, which ends when it is closed. */
  Span span(String name, int microbatch, int chunk);

  /** Begins a span that concerns all microbatches and stands among those of the first. */
  default Span span(String name) {
    return span(name, 0, 0);
  }

  /** Something that takes time. */
  @FunctionalInterface
  public interface Span extends AutoCloseable {
    @Override
    void close();
  }

  /**
   * A span that has ended.
   *
   * @param start nanoseconds, of {@link System#nanoTime}
   */
  public record Event(String name, int microbatch, int chunk, long start, long end) {}

  /** Notes nothing. */
  public record Off() implements Trace {
    @Override
    public Span span(String name, int microbatch, int chunk) {
      return () -> {};
    }
  }

  /** Notes every span. */
  public record On(List<Event> events) implements Trace {
    public On() {
      this(new ArrayList<>());
    }

    @Override
    public Span span(String name, int microbatch, int chunk) {
      long start = System.nanoTime();
      return () -> events.add(new Event(name, microbatch, chunk, start, System.nanoTime()));
    }

    /** The spans so far, which are then forgotten. */
    public List<Event> take() {
      List<Event> taken = List.copyOf(events);
      events.clear();
      return taken;
    }
  }
}
