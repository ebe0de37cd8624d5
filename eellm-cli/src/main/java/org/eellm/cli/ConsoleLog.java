package org.eellm.cli;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.LoggerContext;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.classic.spi.ThrowableProxyUtil;
import ch.qos.logback.classic.util.LogbackMDCAdapter;
import ch.qos.logback.core.ConsoleAppender;
import ch.qos.logback.core.LayoutBase;
import ch.qos.logback.core.encoder.LayoutWrappingEncoder;
import java.nio.charset.StandardCharsets;
import java.util.Properties;
import org.eellm.cli.option.PlainOutput;
import org.slf4j.ILoggerFactory;
import org.slf4j.IMarkerFactory;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.helpers.BasicMarkerFactory;
import org.slf4j.helpers.Reporter;
import org.slf4j.spi.MDCAdapter;
import org.slf4j.spi.SLF4JServiceProvider;

/**
 * Logs for people, on stderr: our progress, and of the libraries only warnings. SLF4J gets it by
 * its name, and Logback without a file: a search in all jars takes a tenth of a second when a
 * command starts, and a file more.
 */
public final class ConsoleLog implements SLF4JServiceProvider {
  private final LoggerContext log = new LoggerContext();
  private final IMarkerFactory markers = new BasicMarkerFactory();
  private final LogbackMDCAdapter context = new LogbackMDCAdapter();

  /** Makes it the log of this process, where none was chosen and nothing has logged yet. */
  static void choose() {
    Properties chosen = System.getProperties();
    chosen.putIfAbsent(LoggerFactory.PROVIDER_PROPERTY_KEY, ConsoleLog.class.getName());
    chosen.putIfAbsent(Reporter.SLF4J_INTERNAL_VERBOSITY_KEY, "WARN"); // it tells of the choice
  }

  /** A message, with its level unless that is the usual one. */
  private static final class Line extends LayoutBase<ILoggingEvent> {
    @Override
    public String doLayout(ILoggingEvent event) {
      String level = event.getLevel() == Level.INFO ? "" : event.getLevel() + ": ";
      String trace =
          event.getThrowableProxy() == null
              ? ""
              : ThrowableProxyUtil.asString(event.getThrowableProxy());
      return level
          + PlainOutput.escape(event.getFormattedMessage())
          + System.lineSeparator()
          + trace;
    }
  }

  @Override
  public void initialize() {
    log.setMDCAdapter(context);
    LayoutWrappingEncoder<ILoggingEvent> encoder = new LayoutWrappingEncoder<>();
    encoder.setContext(log);
    encoder.setCharset(StandardCharsets.UTF_8);
    encoder.setLayout(new Line());
    encoder.start();
    ConsoleAppender<ILoggingEvent> console = new ConsoleAppender<>();
    console.setContext(log);
    console.setTarget("System.err");
    console.setEncoder(encoder);
    console.start();
    var root = log.getLogger(Logger.ROOT_LOGGER_NAME);
    root.addAppender(console);
    root.setLevel(Level.WARN);
    log.getLogger("org.eellm").setLevel(Level.INFO);
    // Warns that it finds no GPU, for which its tokenizers have no use.
    log.getLogger("ai.djl").setLevel(Level.ERROR);
    // Warns of every connection that ends in an odd way; what matters of it the server says.
    log.getLogger("io.helidon").setLevel(Level.ERROR);
  }

  @Override
  public ILoggerFactory getLoggerFactory() {
    return log;
  }

  @Override
  public IMarkerFactory getMarkerFactory() {
    return markers;
  }

  @Override
  public MDCAdapter getMDCAdapter() {
    return context;
  }

  @Override
  public String getRequestedApiVersion() {
    return "2.0.99"; // any of SLF4J 2.0
  }
}
