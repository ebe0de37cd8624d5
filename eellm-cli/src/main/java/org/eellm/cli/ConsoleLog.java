package org.eellm.cli;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.LoggerContext;
import ch.qos.logback.classic.spi.Configurator;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.classic.spi.ThrowableProxyUtil;
import ch.qos.logback.core.ConsoleAppender;
import ch.qos.logback.core.LayoutBase;
import ch.qos.logback.core.encoder.LayoutWrappingEncoder;
import ch.qos.logback.core.spi.ContextAwareBase;
import java.nio.charset.StandardCharsets;
import org.eellm.cli.option.PlainOutput;
import org.slf4j.Logger;

/**
 * Logs for people, on stderr: our progress, and of the libraries only warnings. Logback finds this
 * as a service; a file would take it 0.15 s to read when a command starts.
 */
public final class ConsoleLog extends ContextAwareBase implements Configurator {

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
  public ExecutionStatus configure(LoggerContext log) {
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
    return ExecutionStatus.DO_NOT_INVOKE_NEXT_IF_ANY;
  }
}
