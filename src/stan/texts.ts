/** The texts of node-nats-streaming 0.3.2, with which programs compare. */
export const BAD_SUBJECT = 'stan: subject must be supplied';
export const BAD_CLUSTER_ID = 'stan: cluster ID must be supplied';
export const BAD_CLIENT_ID = 'stan: client ID must be supplied';
export const MAX_FLIGHT_LIMIT_REACHED = 'stan: max in flight reached.';
export const CONN_CLOSED = 'stan: Connection closed';
export const BAD_SUBSCRIPTION = 'stan: invalid subscription';
export const BINARY_ENCODING_REQUIRED = "stan: NATS connection encoding must be 'binary'.";
export const ACK_TIMEOUT = 'stan: publish ack timeout';
export const CONNECT_REQ_TIMEOUT = 'stan: connect request timeout';
export const MAX_PINGS_EXCEEDED = 'stan: connection lost due to PING failure';

/** Texts of the server. */
export const ID_TAKEN = 'stan: clientID already registered';
export const REPLACED = 'client has been replaced or is no longer registered';
export const INVALID_PUBLISH = 'stan: invalid publish request';
export const INVALID_SUBJECT = 'stan: invalid subject';
export const INVALID_WINDOW = 'stan: invalid MaxInflight, should be >= 1';
export const DUPLICATE_DURABLE = 'stan: duplicate durable registration';

/** Codes of nats 1.4.12. */
export const CONN_ERR = 'CONN_ERR';
export const CONN_ERR_PREFIX = 'Could not connect to server: ';
export const NATS_PROTOCOL_ERR = 'NATS_PROTOCOL_ERR';
export const BAD_AUTHENTICATION = 'BAD_AUTHENTICATION';
