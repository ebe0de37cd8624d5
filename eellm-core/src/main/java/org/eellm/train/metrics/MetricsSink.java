package org.eellm.train.metrics;

/** A place where a run's events go. Events come in the order of their steps, from one thread. */
@FunctionalInterface
public interface MetricsSink extends AutoCloseable {

  /** Takes an event. */
  void accept(TrainEvent event);

  /** Where events go that another rank reports. */
  static MetricsSink none() {
    return event -> {};
  }

  /** Releases what the sink holds; every event has been written before. */
  @Override
  default void close() {}
}
