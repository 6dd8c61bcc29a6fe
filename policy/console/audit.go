package console

func (s *server) auditRoutes() {}
